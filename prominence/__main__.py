from prominence.cli import main

main()
