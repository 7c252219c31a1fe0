"""A language model as a judge: optional, held to yes or no, and never trusted before people's labels measured it."""
