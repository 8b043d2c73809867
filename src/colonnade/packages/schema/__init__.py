"""What a package's config.yaml may say: Truss's schema, section by section, as pydantic models.

Unknown keys are kept, so that a file written for a later version still parses; who wants to be strict asks
`unknown(config)` for them.
"""
