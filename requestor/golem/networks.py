"""Payment networks of yagna's erc20 driver."""

# network → the token that is paid with there; test GLM has no value
TOKENS = {
    "hoodi": "tglm",
    "polygon": "glm",
    "mainnet": "glm",
    "amoy": "tglm",
    "sepolia": "tglm",
    "holesky": "tglm",
}


def is_real_money(network: str) -> bool:
    return TOKENS.get(network) == "glm"
