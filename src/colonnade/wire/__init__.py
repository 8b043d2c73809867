"""What processes say to each other: messages, the stream contract, the error tree, settings, units."""
