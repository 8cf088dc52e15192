"""The control plane: records desired state and reconciles actual state with it. Imports ports, no drivers."""
