"""What vendors add to a call that its text does not show, each with its source: one module a vendor.

vendor      the shape of a table, and how it is read
openai, anthropic, google, others
            the tables
directory   which table a model at a provider goes by
"""
