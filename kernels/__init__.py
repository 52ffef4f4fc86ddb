"""Operations with a definition in plain torch and a fast form in Triton; :mod:`kernels.registry` lists
them."""
