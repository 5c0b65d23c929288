from prominence.description import Notification

__all__ = ["Notification"]
