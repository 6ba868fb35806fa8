# pragma version ~=0.4.3
"""
@title A federation on a chain, as Kafka-ML's workers expect one
@notice Whoever deploys it evaluates: begins the training, publishes each round's weights, and ends it. What is published are
    stream specs of Kafka; the weights themselves stay there.
"""

event Contributed:
    client: indexed(address)
    round: indexed(uint256)
    topic: String[256]
    metrics: String[50000]
    data_amount: uint256

evaluator: address
training: bool
round: uint256
models: HashMap[uint256, String[256]]
settings: String[4096]
architecture: String[16384]
compile_args: String[4096]
refusals: HashMap[address, String[64]]


@deploy
def __init__(settings: String[4096], architecture: String[16384], compile_args: String[4096]):
    self.evaluator = msg.sender
    self.settings = settings
    self.architecture = architecture
    self.compile_args = compile_args


# What a worker asks and tells.


@view
@external
def getTrainingStatus() -> bool:
    return self.training


@view
@external
def getCurrentRound() -> uint256:
    return self.round


@view
@external
def getGlobalModel(round: uint256) -> String[256]:
    return self.models[round]


@view
@external
def getTrainingSettings() -> String[4096]:
    return self.settings


@view
@external
def getModelArchitecture() -> String[16384]:
    return self.architecture


@view
@external
def getModelCompileArgs() -> String[4096]:
    return self.compile_args


@external
def sendClientContribution(topic: String[256], metrics: String[50000], data_amount: uint256):
    assert self.training, "there is no training"
    assert len(self.refusals[msg.sender]) == 0, self.refusals[msg.sender]
    log Contributed(client=msg.sender, round=self.round, topic=topic, metrics=metrics, data_amount=data_amount)


# What the evaluator does.


@external
def publish(topic: String[256]):
    """
    @notice Begin the next round with the weights that stand at a stream spec.
    """
    assert msg.sender == self.evaluator, "the evaluator alone publishes"
    self.training = True
    self.round += 1
    self.models[self.round] = topic


@external
def finish():
    """
    @notice End the training.
    """
    assert msg.sender == self.evaluator, "the evaluator alone ends the training"
    self.training = False


@external
def refuse(client: address, reason: String[64]):
    """
    @notice Take nothing more from a client; an empty reason takes that back.
    """
    assert msg.sender == self.evaluator, "the evaluator alone refuses clients"
    self.refusals[client] = reason
