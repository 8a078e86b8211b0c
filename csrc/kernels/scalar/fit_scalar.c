/* The quantizers' searches, of bnf_fit_lanes.h, for this table's registers. May not do anything else. Next: bnf_fit.h. */
#include "bnf_fit_lanes.h"
#include "kernels_scalar.h"

BNF_FIT_FUNCTIONS(scalar)
