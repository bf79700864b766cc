"""How more is learned: reads of Redis, and what proves that they still speak for the truth.

A `flights.Flight` is one read, with all who wait for it. It is sent through a `sources.Source`: the
`read_connection` to one master, and what was learned through it. A `link` keeps that connection up
and renews its lease with a probe each second; the `supervisor` keeps one link to each master.
`lifetimes` tells which records end by themselves, `data_set_watch` whether another data set was put
under the connection.
"""
