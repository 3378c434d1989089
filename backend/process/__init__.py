"""The model at work in a process of its own: the same seam, over two sockets.

    Engine(process=True)           worker: python -m sestina.backend.process.worker
      client.py  --- commands --->   worker.py     LocalRuntime
                 <--- events -----                 its thread sends once a turn

`messages.py` is what crosses: msgpack of plain data, decoded against a schema; never pickle.
"""
