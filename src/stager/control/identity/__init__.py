"""Authentication, authorization, sessions, tokens and the audit log."""
