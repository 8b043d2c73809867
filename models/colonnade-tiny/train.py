"""Train colonnade-tiny from nothing: python models/colonnade-tiny/train.py --minutes 60 --out FOLDER"""

from colonnade_tiny import network
from colonnade_tiny.command import train

if __name__ == "__main__":
    train(network, __doc__)
