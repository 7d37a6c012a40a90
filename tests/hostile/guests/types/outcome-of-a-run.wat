;; A step whose run answers with a text.
;; wit: run: func(config: json) -> result<outcome, plugin-error>; => run: func(config: json) -> result<string, plugin-error>;
;; expect: refused `step.run` has another signature than its world says: expected func(config: json) -> result<outcome, plugin-error>, found func(config: string) -> result<string, variant {
