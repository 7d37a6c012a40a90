;; Gives up where the host asks for memory.
;; kind: scheduler
;; expect: ends panicked
(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
