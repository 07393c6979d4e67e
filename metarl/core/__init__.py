"""Mathematics that knows neither reinforcement learning nor images: params, adaptation, trust regions."""
