"""What recognises people: slow hashing, sealing, WebAuthn. Each the one module that knows its library."""
