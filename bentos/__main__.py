"""`python -m bentos` is `banksight` where our packages are files, as in an image, and no entry point was installed."""

from bentos.commands import serve
from rag.cli import banksight, main

banksight.add_command(serve)
main()
