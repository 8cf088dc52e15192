"""From a forge's webhooks to desired state: deliveries, policy, comment commands and resync."""
