;; Answers what is no JSON.
;; kind: generator
;; expect: ends expected a JSON text
(data (i32.const 144) "{]")
(func (export "generator#generate") (param i32 i32) (result i32) (call $answer (i32.const 144) (i32.const 2)))
