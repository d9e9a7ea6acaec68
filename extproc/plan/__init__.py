"""A release's folder: files for other tools and for people, all computed from the Spec. Each part is one function, `files(spec)`."""
