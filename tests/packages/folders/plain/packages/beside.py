BESIDE = "packages"
