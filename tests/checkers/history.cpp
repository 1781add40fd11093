#include "tests/checkers/history.hpp"
