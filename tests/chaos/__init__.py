"""Workers and brokers that are killed while a federation goes on, and a judge that reads what was answered.

    strikes       what is killed, at which moment of a worker's life, in which round; the plans of both forms
    launcher      a worker that strikes by itself, at moments that nobody outside of it could meet
    federation    a cloud, workers that are started again, and a broker of their own
    judge         the whole log of replies, as a reader of one isolation has it
    run           `make chaos`: the long form, and its table in docs/reliability.md

The launcher wraps the Kafka clients that the worker's transport opens; the worker itself knows nothing of it.
"""
