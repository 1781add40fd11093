// Asio's own code, compiled once for all of the project (ASIO_SEPARATE_COMPILATION).
#include <asio/impl/src.hpp>
