"""The brain: collect outcomes, evaluate gates each second, decide, write State. The only writer of State and Journal."""
