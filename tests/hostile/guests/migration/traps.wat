;; Falls over what another version left.
;; kind: scheduler
;; call: migrate
;; expect: ends it panicked
(func (export "migration#migrate") (param i32 i32 i32 i32 i32 i32) (result i32) unreachable)
