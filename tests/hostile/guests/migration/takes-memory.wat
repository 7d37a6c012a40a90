;; Translates into more memory than it has.
;; kind: scheduler
;; call: migrate
;; expect: ends memory
(func (export "migration#migrate") (param i32 i32 i32 i32 i32 i32) (result i32)
  (loop $again (br_if $again (i32.ne (i32.const -1) (memory.grow (i32.const 64)))))
  unreachable)
