"""Extensions that people expect, each on the public hooks alone."""
