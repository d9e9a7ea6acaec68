"""A whole release as a folder of files, computed from the Spec: each part has `files(spec)`, path inside the folder -> text. Pure."""
