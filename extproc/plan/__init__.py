"""The release folder: files made of one Spec for one application, its models, its volume and its infrastructure. Pure."""
