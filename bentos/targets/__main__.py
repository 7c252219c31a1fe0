"""Ends with one sentence and code 3 when the torch in an image is not that of its target."""

import os
import sys

from bentos.targets import refuse_wrong_build, target_of
from rag.errors import ConfigurationError
from rag.operations.installed import this_machine

try:
    if target := target_of(os.environ):
        refuse_wrong_build(target, this_machine().torch_cuda)
except ConfigurationError as error:
    sys.stderr.write(f"Error: {error}\n")
    sys.exit(3)
