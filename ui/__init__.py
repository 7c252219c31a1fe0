"""What people see: a Chainlit application that speaks HTTP to the API and imports nothing else of ours."""
