"""Look at the corpus: python models/colonnade-tiny/corpus.py --count 20 [--heldout notes]"""

from colonnade_tiny.corpus import main

if __name__ == "__main__":
    main()
