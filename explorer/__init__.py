"""Next-Token Explorer: see how a language model picks its next token.

A prefix is a tuple of token ids. A model turns a prefix into one vector of logits
(`backends`). A chain of small rules turns those logits into a distribution and remembers
what each rule removed (`decoding`). A session is a tree of the tokens chosen so far
(`session`). Everything on the screen is a view of these values (`views`, `ui`).
"""

__version__ = "0.1.0"
