"""Fine-tuning of the offline server: OpenAI's files and jobs, a small model trained on the CPU.

```
endpoints.py   the HTTP interface: files, jobs, models
requests.py    what a request for a job may say     examples.py   the uploaded chats
files.py       uploaded files                       jobs.py       jobs and their events
storage.py     how both are written                 metrics.py    what training measured
supervisor.py  one trainer's process at a time      trainer.py    that process
run.py         a whole training                     progress.py   what it tells meanwhile
tokenizer.py   units learnt from the chats          batches.py    encoded chats by length
network.py     the transformer                      training.py   the training loop
generation.py  answers, token by token              model.py      tokenizer and network, kept
serving.py     models behind their names
```

PyTorch is imported by ``batches``, ``network``, ``training``, ``generation``, ``model`` and ``run``
alone, and these only where a model is trained or asked.

The model starts from nothing: the name that a job starts from chooses no weights. It knows the
chats that it was trained on and nothing else, and sees of a request what a language model sees, its
messages' text.
"""
