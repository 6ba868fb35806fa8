"""The formats of a labelled stream, one column decoder a side (value or key) of a record.

May know protocol/, numpy and the libraries of the formats, each loaded when its format is asked for; knows no Kafka, no Keras
and no environment. A new format is a function Options → Plan and a row in the table of `decoders.py`.
"""
