"""The only error that the engine reports to its clients."""

__all__ = ["ApiError", "conflict", "invalid", "not_found"]


class ApiError(Exception):
    """Answered as HTTP `status` with `{"message": …}`, in Docker's own words where clients match on them."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def not_found(message: str) -> ApiError:
    """404"""
    return ApiError(404, message)


def conflict(message: str) -> ApiError:
    """409"""
    return ApiError(409, message)


def invalid(message: str) -> ApiError:
    """400"""
    return ApiError(400, message)
