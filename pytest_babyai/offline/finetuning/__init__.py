"""Fine-tuning of the offline server: OpenAI's files and jobs, a small model trained on the CPU.

```
api.py         the HTTP interface: files, jobs, models, and what a request may say
jobs.py        uploaded files, jobs and their events, on disk
chats.py       the uploaded chats, checked and split
worker.py      one trainer's process at a time, and that process
tokenizer.py   tokens learned from the chats
model.py       the transformer, its answers, and how both are kept
train.py       batches, the training loop, one whole training
metrics.py     what a training measures and says
serve.py       models behind their names
```

PyTorch is imported by ``model`` and ``train`` alone, and these only where a model is trained or
asked.

The model starts from nothing: the name that a job starts from chooses no weights. It knows the
chats that it was trained on and nothing else, and sees of a request what a language model sees, its
messages' text.
"""
