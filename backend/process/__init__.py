"""The model at work in a process of its own: the same seam, over two sockets.

    Engine(process=True)             a process of its own
      client.py    --- commands --->   worker.py, over a LocalRuntime
                   <--- events -----   whose thread sends once a turn

`messages.py` is what crosses: msgpack of plain data, decoded against a schema; never pickle.
"""
