"""Everything that a constructor may ask for, helpers from three places, a sync predict."""

from pathlib import Path

from beside import BESIDE

from model.helper import twice


class Model:
    def __init__(self, config, data_dir, secrets, environment, lazy_data_resolver):
        self.config = config
        self.data_dir = data_dir
        self.secrets = secrets
        self.environment = environment
        lazy_data_resolver.block_until_download_complete()

    def load(self):
        self.words = (self.data_dir / "words.txt").read_text().split()

    def predict(self, inputs):
        if inputs == "raise":
            raise RuntimeError("the secret of the model")
        if inputs == "secret":
            return self.secrets["token"]
        if inputs == "missing":
            return self.secrets["absent"]
        return {
            "twice": twice(inputs),
            "beside": BESIDE,
            "words": self.words,
            "environment": self.environment,
            "here": Path("config.yaml").exists(),
            "class": self.config["model_class_name"],
        }
