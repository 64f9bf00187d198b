"""PyTorch through torch.compile."""

from bench.frameworks import torch as eager

eager.COMPILE = True
set_threads, matmul, unary, dropout = eager.set_threads, eager.matmul, eager.unary, eager.dropout
batch_norm, train, predict = eager.batch_norm, eager.train, eager.predict
conv, pool = eager.conv, eager.pool
