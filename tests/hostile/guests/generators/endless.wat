;; Never answers.
;; kind: generator
;; expect: ends it ran for more than 300 ms
(func (export "generator#generate") (param i32 i32) (result i32) (loop $on (br $on)) unreachable)
