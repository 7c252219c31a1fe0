"""The sub-commands of `banksight`: each parses, calls and prints, and holds no logic of its own."""
