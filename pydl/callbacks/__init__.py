"""What happens besides the training itself: stopping, saving, logging, learning rates."""

from pydl.callbacks.base import Callback, CallbackList, History, LambdaCallback
from pydl.callbacks.checkpoint import BackupAndRestore, ModelCheckpoint, SwapEMAWeights
from pydl.callbacks.monitor import (
    EarlyStopping,
    LearningRateScheduler,
    MonitorCallback,
    ReduceLROnPlateau,
    TerminateOnNaN,
)
from pydl.callbacks.progress import CSVLogger, ProgbarLogger
from pydl.callbacks.tensorboard import TensorBoard

__all__ = [
    "BackupAndRestore", "CSVLogger", "Callback", "CallbackList", "EarlyStopping", "History", "LambdaCallback",
    "LearningRateScheduler", "ModelCheckpoint", "MonitorCallback", "ProgbarLogger", "ReduceLROnPlateau",
    "SwapEMAWeights", "TensorBoard", "TerminateOnNaN",
]
