"""Lists the benchmarks, one line each: `python -m benchmarks`."""

import ast
import pkgutil

import benchmarks


def listed() -> dict[str, str]:
    """Returns name -> first line of the docstring, of every module that has a `main`. Nothing is imported."""
    lines = {}
    for module in pkgutil.iter_modules(benchmarks.__path__):
        path = f"{benchmarks.__path__[0]}/{module.name}" + ("/__main__.py" if module.ispkg else ".py")
        with open(path, encoding="utf-8") as stream:
            tree = ast.parse(stream.read())
        has_main = any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body)
        if has_main and module.name != "__main__":
            lines[module.name] = (ast.get_docstring(tree) or "").splitlines()[0]
    return lines


def main() -> None:
    """Prints the list."""
    for name, line in listed().items():
        print(f"{name:<10} {line}")


if __name__ == "__main__":
    main()
