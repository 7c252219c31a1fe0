"""What is evaluated: a pipeline in this process, or an endpoint that speaks our API or OpenAI's."""
