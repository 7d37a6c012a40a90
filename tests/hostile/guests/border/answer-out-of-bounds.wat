;; Answers with an address behind its memory.
;; expect: ends out of bounds
(func (export "step#run") (param i32 i32) (result i32) (i32.const -8))
