"""One serving process around one servable: the HTTP face of an engine and the contract every replica keeps."""
