"""The release folder: everything that a release needs around extproc, made from a Spec. Pure: `files(spec)` is path -> text."""
