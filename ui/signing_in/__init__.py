"""How people sign in to the chat: not at all, with their key, with a password, or at the bank's identity provider."""
